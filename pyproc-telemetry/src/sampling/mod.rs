//! Which spans are exported: the decision at a trace's start ([`Head`]), and the one when it has ended ([`Tail`]).

mod head;
mod rule;
mod subtrees;
mod tail;

pub(crate) use head::Head;
pub(crate) use tail::Tail;
