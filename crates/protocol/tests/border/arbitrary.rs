//! Arbitrary messages; tensors among them need not be valid.

use proptest::{
    collection::{btree_map, vec},
    num::f64::ANY,
    option,
    prelude::*,
};
use protocol::{
    DType, DeviceKind, Gradient, Panic, Progress, Question, RawTensor, Reply, Usage, Value,
};

pub(crate) fn question() -> impl Strategy<Value = Question> {
    let device =
        prop_oneof![Just(DeviceKind::Cpu), Just(DeviceKind::Cuda), Just(DeviceKind::Metal)];
    prop_oneof![
        (any::<u32>(), device).prop_map(|(version, device)| Question::Open { version, device }),
        (text(), vec(value(), 0..5)).prop_map(|(part, args)| Question::Call { part, args }),
        (text(), vec(value(), 0..5), vec(raw_tensor(), 0..4))
            .prop_map(|(part, args, cotangents)| Question::Gradient { part, args, cotangents }),
    ]
}

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    let usage = any::<[u64; 3]>().prop_map(|[peak_bytes, allocations, cpu_nanos]| Usage {
        peak_bytes,
        allocations,
        cpu_nanos,
    });
    prop_oneof![
        (any::<u32>(), vec(text(), 0..5))
            .prop_map(|(version, parts)| Reply::Opened { version, parts }),
        (vec(value(), 0..5), usage).prop_map(|(values, usage)| Reply::Values(values, usage)),
        vec(gradient(), 0..5).prop_map(Reply::Gradients),
        text().prop_map(Reply::Error),
        (text(), option::of(text()))
            .prop_map(|(message, location)| Reply::Panic(Panic { message, location })),
        (any::<u64>(), any::<u64>(), vec((text(), ANY), 0..12))
            .prop_map(|(step, total, metrics)| Reply::Progress(Progress { step, total, metrics })),
    ]
}

pub(crate) fn raw_tensor() -> impl Strategy<Value = RawTensor> {
    // Small lengths often, so that bytes and order sometimes fit.
    let length = prop_oneof![3 => 0u64..4, 1 => any::<u64>()];
    let axis = prop_oneof![3 => 0u8..4, 1 => any::<u8>()];
    (dtype(), vec(length, 0..5), vec(axis, 0..5), vec(any::<u8>(), 0..40)).prop_map(
        |(dtype, shape, memory_order, bytes)| RawTensor { dtype, shape, memory_order, bytes },
    )
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        ANY.prop_map(Value::Float),
        text().prop_map(Value::Text),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        vec(any::<i64>(), 0..10).prop_map(Value::Ints),
        vec(text(), 0..5).prop_map(Value::Texts),
        raw_tensor().prop_map(Value::Tensor),
        btree_map(text(), raw_tensor(), 0..4).prop_map(Value::Named),
        btree_map(text(), ANY, 0..6).prop_map(Value::Numbers),
    ]
}

fn gradient() -> impl Strategy<Value = Gradient> {
    prop_oneof![
        Just(Gradient::NotDifferentiable),
        option::of(raw_tensor()).prop_map(Gradient::Tensor),
        btree_map(text(), option::of(raw_tensor()), 0..4).prop_map(Gradient::Named),
    ]
}

fn dtype() -> impl Strategy<Value = DType> {
    let all = [DType::U8, DType::U32, DType::I64, DType::BF16, DType::F16, DType::F32, DType::F64];
    (0..all.len()).prop_map(move |n| all[n])
}

/// Any characters; the pattern language of proptest would need another feature of it.
fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..8).prop_map(String::from_iter)
}
