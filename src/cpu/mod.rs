//! The native CPU device.
