"""What commands show while they work: live views, bars and tables."""
