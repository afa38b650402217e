//! What agents have sent that is of no use, by agent.

use std::sync::Arc;

use voxlane_dataplane::agent::AgentTally;
use voxlane_dataplane::media_plane::WebProtocol;

use crate::config::model::{AgentEndpoint, Config};
use crate::ops::report::AgentMessages;

/// What streams are called together that documents name and no agent stands for.
const DOCUMENTS: &str = "(documents)";

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Tallies {
    /// By name, with what it speaks.
    agents: Vec<(String, &'static str, Arc<AgentTally>)>,
}

impl Tallies {
    /// Nothing is counted yet.
    pub fn new(config: &Config) -> Self {
        let agents = config.agents.iter().filter_map(|agent| {
            let protocol = match &agent.endpoint {
                AgentEndpoint::Echo | AgentEndpoint::Tone { .. } => return None,
                AgentEndpoint::Web { .. } => agent.protocol.name(),
                AgentEndpoint::AudioSocket { .. } => "audiosocket",
            };
            Some((agent.name.clone(), protocol, Arc::default()))
        });
        let documents = (DOCUMENTS.to_owned(), WebProtocol::Twilio.name(), Arc::default());
        Self {
            agents: agents.chain([documents]).collect(),
        }
    }

    /// That of an agent.
    pub fn of(&self, agent: &str) -> Arc<AgentTally> {
        let found = self.agents.iter().find(|(name, ..)| name == agent);
        found.map(|(_, _, tally)| Arc::clone(tally)).unwrap_or_default()
    }

    /// That of streams which documents name.
    pub fn of_documents(&self) -> Arc<AgentTally> {
        self.of(DOCUMENTS)
    }

    /// All that has been counted, by agent; those that have sent nothing of the kind, too.
    pub fn report(&self) -> Vec<AgentMessages> {
        let rows = self.agents.iter().map(|(agent, protocol, tally)| AgentMessages {
            agent: agent.clone(),
            protocol: (*protocol).to_owned(),
            malformed: tally.malformed(),
            oversized: tally.oversized(),
        });
        rows.collect()
    }
}
