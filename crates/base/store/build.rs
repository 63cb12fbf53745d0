//! Has cargo notice a new migration file: the macro that embeds them does not on stable Rust.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
