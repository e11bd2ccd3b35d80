"""Which expressions read pixels, or facts of images, where a value depends on its own row alone?"""
