"""What does a read give of the pixels in a window, as they are or on another grid?"""
