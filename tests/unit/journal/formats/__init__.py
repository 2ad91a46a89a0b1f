"""Internal records as earlier versions wrote them, and what a reader must make of them."""
