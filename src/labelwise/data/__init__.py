"""Where images come from: folders, arrays, torchvision data sets, a user's own PyTorch data set."""
