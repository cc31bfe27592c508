//! The migrations are embedded at build time: build again when they change.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
