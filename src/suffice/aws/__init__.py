"""Calls to AWS in, records out; the only room that may import boto3, and it asks nothing unless the user allowed it."""
