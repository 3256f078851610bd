"""What the pages say, in both languages: a file for each page, and one for what every page says."""
