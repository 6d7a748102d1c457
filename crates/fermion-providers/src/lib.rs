//! Providers of capabilities: implementations of the traits that the runtime defines, behind the bindings of an app.
//! Today there is one: key-value stores in files of this node. Refuses to do: deciding who may use what.

mod embedded;
mod error;
pub mod limits;
mod rows;
mod store;
#[cfg(test)]
mod tests;

pub use embedded::EmbeddedStores;
pub use error::Error;
