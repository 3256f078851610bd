"""What is kept: objects and catalogue.  The public names are listed here as the modules below settle."""
