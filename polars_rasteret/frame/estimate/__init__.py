"""What will a query read, before it reads anything?"""
