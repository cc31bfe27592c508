# syntax=docker/dockerfile:1
#
# ruad for a PostgreSQL of yours. There is no PostgreSQL in the image, so no private server either: DATABASE_URL, or
# RUAD_DATABASE__URL_FILE, names the database. A database is better off in a container of its own, which is upgraded,
# backed up and restarted by itself; the image stays as small as the program, without a shell.

FROM rust:1.95-slim-bookworm AS build
# jemalloc is built with make. What the distribution has is as good as any version named here.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
# Settings of the allocator, which are compiled in.
COPY .cargo .cargo
COPY migrations migrations
COPY crates crates
# A member of the workspace is read even if it is not built.
COPY tests/Cargo.toml tests/Cargo.toml
COPY tests/e2e/main.rs tests/e2e/main.rs
# Queries are checked against the committed metadata.
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package server \
    && cp target/release/ruad /ruad

# glibc, certificates of authorities, time zones, and a user without rights; nothing else.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /ruad /usr/local/bin/ruad
COPY config/ruad.toml LICENSE LICENSE-APACHE LICENSE-MIT /usr/share/doc/ruad/
# On an address that is not loopback every request needs a token: the first start prints one for an administrator, once.
ENV RUAD_LISTEN=0.0.0.0:8080
EXPOSE 8080
WORKDIR /home/nonroot
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["/usr/local/bin/ruad", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/ruad"]
CMD ["serve"]
