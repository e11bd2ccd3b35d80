"""What does a read give of the pixels in a zone?"""
