"""Reference models: computer-drawn phantoms, their DICOM, training and evaluation."""
