"""What a project keeps: a SQL catalogue for what people do, Parquet shards for what models do."""
