//! Builds the kernel side with the nightly tool chain and places the object in `OUT_DIR`.

use anyhow::{Context, Result};
use aya_build::{Package, Toolchain};

fn main() -> Result<()> {
    aya_build::build_ebpf(
        [Package { name: "mask-ebpf", root_dir: "../mask-ebpf", ..Default::default() }],
        Toolchain::default(),
    )
    .context("cannot build the eBPF programs; run `cargo xtask setup` once")
}
