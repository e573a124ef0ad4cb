"""Random damage, by the hundred thousand: ``make fuzz``; the suite runs a part of it."""
