"""Fuzz tests with damaged responses and malformed requests: ``make fuzz``; the suite runs a part of them."""
