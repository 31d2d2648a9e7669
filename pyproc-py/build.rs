//! Says what interpreter this is for, and lets the linker leave its symbols open, which macOS refuses
//! otherwise.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    pyo3_build_config::add_extension_module_link_args();
}
