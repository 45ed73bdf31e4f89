"""What was not measured, with how sure that is: learning curves carried on, and risks from test images not drawn alike.

Pure functions on NumPy arrays; they know no project, no model and no kind of label.
"""
