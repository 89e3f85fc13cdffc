//! Builds again when a migration was added: the macro that embeds them only notices changed ones.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
