"""Do the tests of the package hold? A package itself, so that its modules may import `tests.support`."""
