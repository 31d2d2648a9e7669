//! What the native core uses of the Python package: its objects, its bounds, the exposed functions.
//!
//! Nothing here knows of connections or calls. Modules that few workers need are imported when they are used first.
//!
//! | file | idea |
//! | --- | --- |
//! | `functions` | the exposed functions, as one thread knows them |
//! | `objects` | functions and classes of the package |
//! | `collector` | pauses the garbage collector |
//! | `lazy_import` | an object of a module that is imported when it is used first |
//! | `limits` | the bounds that both cores keep |

mod collector;
mod functions;
mod lazy_import;
mod limits;
mod objects;

pub(crate) use self::functions::{Function, FunctionId, Functions};
pub(crate) use self::lazy_import::LazyImport;
pub(crate) use self::limits::Limits;
pub(crate) use self::objects::{Package, ends_worker, partial};
