//! Providers of capabilities: implementations of the traits that the runtime defines, behind the bindings of an app.
