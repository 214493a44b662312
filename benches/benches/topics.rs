//! Both indexes and the cache at a thousand, a hundred thousand and a million entries. "Cold"
//! walks over as many different Topic Names as there are filters, in random order, so that what a
//! match touches has left the processor's caches where the index does not fit into them.
//! What a filter takes in memory is told by `cargo xtask bench memory`.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use dunlin_benches::micro::filters::{Index, Mix, Options, Round, count, shuffled, topic_names};
use dunlin_topics::{MatchCache, NameIndex, Page, PageLimit, Recipients};
use std::hint::black_box;

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn matching(criterion: &mut Criterion) {
    for mix in Mix::ALL {
        let mut group = criterion.benchmark_group(format!("match-{}", mix.name()));
        for size in SIZES {
            let index = mix.index(size);
            let names = topic_names(size);
            let mut round = Round::new(&names);
            group.bench_function(BenchmarkId::new("cold", size), |bencher| {
                bencher.iter(|| count(&index, black_box(round.next())));
            });
            let mut round = Round::new(&names[..100]);
            group.bench_function(BenchmarkId::new("warm", size), |bencher| {
                bencher.iter(|| count(&index, black_box(round.next())));
            });
            group.bench_function(BenchmarkId::new("untouched", size), |bencher| {
                bencher.iter(|| count(&index, black_box("other/7/u7/temp")));
            });
        }
        group.finish();
    }
}

fn cache(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache");
    for size in SIZES {
        let mut index = Mix::Mixed.index(size);
        let names = topic_names(size);
        let mut cache = MatchCache::new(1, 10_000, 16 << 20);
        let mut round = Round::new(&names[..1_000]);
        group.bench_function(BenchmarkId::new("hot", size), |bencher| {
            bencher.iter(|| cache.recipients(&index, black_box(round.next())).subscribers().len());
        });
        let mut round = Round::new(&names);
        group.bench_function(BenchmarkId::new("never-again", size), |bencher| {
            bencher.iter(|| cache.recipients(&index, black_box(round.next())).subscribers().len());
        });
        let mut recipients = Recipients::default();
        let mut round = Round::new(&names);
        group.bench_function(BenchmarkId::new("never-again-uncached", size), |bencher| {
            bencher.iter(|| {
                recipients.collect(&index, black_box(round.next()));
                recipients.subscribers().len()
            });
        });
        // The index changes before every publish: beside "hot" and "changing-uncached" this is
        // what the cache loses at worst.
        let mut round = Round::new(&names[..1_000]);
        group.bench_function(BenchmarkId::new("changing", size), |bencher| {
            bencher.iter(|| {
                index.insert("other/filter", 0, Options(0));
                cache.recipients(&index, black_box(round.next())).subscribers().len()
            });
        });
        let mut round = Round::new(&names[..1_000]);
        group.bench_function(BenchmarkId::new("changing-uncached", size), |bencher| {
            bencher.iter(|| {
                index.insert("other/filter", 0, Options(0));
                recipients.collect(&index, black_box(round.next()));
                recipients.subscribers().len()
            });
        });
    }
    group.finish();
}

fn changing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("change");
    for size in SIZES {
        let mut index = Mix::Mixed.index(size);
        let numbers = shuffled(size);
        let mut at = 0;
        group.bench_function(BenchmarkId::new("remove+insert", size), |bencher| {
            bencher.iter(|| {
                at = (at + 1) % size;
                let topic_filter = Mix::Mixed.topic_filter(numbers[at]);
                let value = index.remove(&topic_filter, numbers[at] as u32);
                index.insert(&topic_filter, numbers[at] as u32, value.unwrap_or(Options(0)));
            });
        });
    }
    let mut index = Index::new(1);
    for key in 0..100_000 {
        index.insert("all/#", key, Options(0));
    }
    let numbers = shuffled(100_000);
    let mut at = 0;
    group.bench_function("remove+insert/one-filter-of-100000", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % numbers.len();
            index.remove("all/#", numbers[at] as u32);
            index.insert("all/#", numbers[at] as u32, Options(0));
        });
    });
    group.finish();
}

fn retained(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("names");
    for size in SIZES {
        let names = topic_names(size);
        let mut index = NameIndex::new();
        for (number, name) in names.iter().enumerate() {
            index.insert(name, number);
        }
        let mut round = Round::new(&names);
        group.bench_function(BenchmarkId::new("replace", size), |bencher| {
            bencher.iter(|| index.insert(black_box(round.next()), 1));
        });
        let mut after = None::<String>;
        group.bench_function(BenchmarkId::new("page-of-100-hash", size), |bencher| {
            bencher.iter(|| after = page(&index, "plant/#", after.as_deref()));
        });
        let mut after = None::<String>;
        group.bench_function(BenchmarkId::new("page-of-100-plus", size), |bencher| {
            bencher.iter(|| after = page(&index, "plant/7/+/temp", after.as_deref()));
        });
        group.bench_function(BenchmarkId::new("one-of-each-plant", size), |bencher| {
            bencher.iter(|| page(&index, black_box("plant/+/u7/temp"), None));
        });
    }
    group.finish();
}

fn page(index: &NameIndex<usize>, topic_filter: &str, after: Option<&str>) -> Option<String> {
    let limit = PageLimit { matches: 100, steps: usize::MAX };
    let mut sum = 0;
    let page = index.matches_after(topic_filter, after, limit, |name, _| sum += name.len());
    black_box(sum);
    match page {
        Page::After(name) => Some(name.to_owned()),
        Page::Complete => None,
    }
}

/// What one dependent read from memory costs on this machine at this moment: a cold match makes a
/// few of them, so read its time beside this one.
fn memory(criterion: &mut Criterion) {
    const LINES: usize = 1 << 20;
    let order = shuffled(LINES);
    let mut chain = vec![[0_usize; 8]; LINES];
    for (at, line) in order.iter().enumerate() {
        chain[*line][0] = order[(at + 1) % LINES];
    }
    let mut line = 0;
    criterion.bench_function("memory/dependent-read", |bencher| {
        bencher.iter(|| {
            line = chain[line][0];
            line
        });
    });
}

criterion_group!(benches, memory, matching, cache, changing, retained);
criterion_main!(benches);
