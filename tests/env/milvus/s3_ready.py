"""Makes the bucket and returns once the S3 server takes a write and gives it back: s3_ready.py URL BUCKET SECONDS"""
import sys
import time

import boto3
import botocore

url, bucket, limit = sys.argv[1], sys.argv[2], float(sys.argv[3])
client = boto3.client(
    "s3",
    endpoint_url=url,
    region_name="us-east-1",
    config=botocore.config.Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=5, s3={"addressing_style": "path"}),
)
deadline = time.monotonic() + limit
while True:
    try:
        if bucket not in [b["Name"] for b in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key=".ready", Body=b"ready")
        assert client.get_object(Bucket=bucket, Key=".ready")["Body"].read() == b"ready"
        client.delete_object(Bucket=bucket, Key=".ready")
        break
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, AssertionError) as error:
        if time.monotonic() > deadline:
            sys.exit(f"S3 at {url} takes no writes after {limit:.0f} s: {error}")
        time.sleep(0.1)
