"""How do records and places become samples for the training of models?

Samples are NumPy arrays until `torch_samples`; only modules named after a library import it. How pixels are read does not belong
here.
"""
