"""What a record is: schemas, the wire format, a batch as columns, and what is not a record (`Rejected`)."""
