"""Which pixels of a grid do zones cover, and how much of each pixel? See `runs` for the one form of the answer."""
