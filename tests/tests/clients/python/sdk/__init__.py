"""boto3 drives every operation."""
