//! Who decides, when a span starts, whether it is sampled.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::{Config, SamplerType};

/// The sampler of the settings, whose rate has been checked.
pub(crate) fn head(config: &Config) -> Box<dyn ShouldSample> {
    let ratio = Sampler::TraceIdRatioBased(config.sampling_rate);
    let parent_or = |root| Sampler::ParentBased(Box::new(root));
    let sampler = match config.sampler {
        SamplerType::AlwaysOn => Sampler::AlwaysOn,
        SamplerType::AlwaysOff => Sampler::AlwaysOff,
        SamplerType::Ratio => ratio,
        SamplerType::ParentBasedAlwaysOn => parent_or(Sampler::AlwaysOn),
        SamplerType::ParentBasedAlwaysOff => parent_or(Sampler::AlwaysOff),
        SamplerType::ParentBasedRatio => parent_or(ratio),
    };
    match config.tail_sampling {
        Some(_) => Box::new(RecordAll(Box::new(sampler))),
        None => Box::new(sampler),
    }
}

/// Records also what is not sampled, so that the tail may still keep it. The flag that is passed on stays
/// as the head decided.
#[derive(Debug, Clone)]
struct RecordAll(Box<dyn ShouldSample>);

impl ShouldSample for RecordAll {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self
            .0
            .should_sample(parent, trace, name, kind, attributes, links);
        if result.decision == SamplingDecision::Drop {
            result.decision = SamplingDecision::RecordOnly;
        }
        result
    }
}
