//! stub
pub fn read(_: &[u8]) -> Result<super::Tensors, String> { Err(String::new()) }
