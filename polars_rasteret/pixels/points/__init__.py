"""What does a read give of the pixels at and around a point?"""
