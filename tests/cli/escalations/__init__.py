"""Tests in which operators try to get what their plan or role does not allow."""
