"""What the end-to-end tests drive: the cluster, Milvus, the S3 server and faults between them."""
