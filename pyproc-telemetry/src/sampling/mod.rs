//! Which spans are exported: the decision at a trace's start ([`HeadSampler`]), and the one when it has ended ([`TailSampler`]).

mod head;
mod rule;
mod subtrees;
mod tail;

pub(crate) use head::HeadSampler;
pub(crate) use tail::TailSampler;
