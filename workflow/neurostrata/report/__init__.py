"""The report: pages, figures and sentences made from the finished results tree, which it only reads."""
