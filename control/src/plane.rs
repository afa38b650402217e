//! stub
use crate::config::model::Config;
use crossbeam_channel::Sender;
use std::sync::Arc;
use voxlane_dataplane::media_plane::*;
/// a
pub fn start(_c: &Config, _e: Sender<MediaEvent>) -> anyhow::Result<Arc<dyn MediaPlane>> {
    anyhow::bail!("")
}
/// b
pub fn softphone(_p: (u16, u16), _e: Sender<MediaEvent>) -> anyhow::Result<Arc<dyn MediaPlane>> {
    anyhow::bail!("")
}
