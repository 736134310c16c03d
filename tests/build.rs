//! Tells which tests have what cannot be installed: the others are reported as ignored.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_job)");
    println!("cargo::rerun-if-changed=data");
    if std::path::Path::new("data/job.sql").exists() {
        println!("cargo::rustc-cfg=has_job");
    }
}
