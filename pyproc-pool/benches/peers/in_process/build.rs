//! On macOS, a module for Python must not look for Python's symbols when it is linked.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
