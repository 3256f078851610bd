# MinIO's community server comes as source only.
FROM golang:1.26-bookworm AS build
RUN CGO_ENABLED=0 go install -trimpath github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends curl ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /go/bin/minio /usr/local/bin/minio
VOLUME /data
ENTRYPOINT ["minio"]
