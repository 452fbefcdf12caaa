// libvlorp from C++: an owner for the handle, exceptions for its errors, std::thread for its loops.
//
// A student learns a teacher's matrix; exits 0 when the loss fell as it should and one thread and
// four gave the same bits.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <vlorp/vlorp.h>

namespace {

constexpr int n = 40, m = 64, batch = 32, steps = 150;

void check(vlorp_status status, const vlorp_err &err)
{
    if (status != VLORP_OK) {
        throw std::runtime_error(std::string(vlorp_status_text(status)) + ": " + err.text);
    }
}

struct Free {
    void operator()(vlorp_optimizer *optimizer) const { vlorp_optimizer_free(optimizer); }
};
using Optimizer = std::unique_ptr<vlorp_optimizer, Free>;

// A vlorp_parallel_for; ctx points to the number of threads.
void for_each(void *ctx, int64_t n_items, vlorp_task *task, void *arg)
{
    const int n_threads = *static_cast<const int *>(ctx);
    std::atomic<int64_t> next{0};
    auto work = [&](int thread) {
        for (int64_t i = next++; i < n_items; i = next++) {
            task(arg, i, thread);
        }
    };
    std::vector<std::thread> threads;
    for (int t = 1; t < n_threads; t++) {
        threads.emplace_back(work, t);
    }
    work(0);
    for (auto &thread : threads) {
        thread.join();
    }
}

std::vector<float> normals(const char *name, uint64_t number, int64_t count)
{
    std::vector<float> out(static_cast<size_t>(count));
    const vlorp_rng rng = vlorp_rng_make(1, vlorp_rng_hash(name), VLORP_STREAM_INIT, number);
    vlorp_rng_normals(out.data(), &rng, 0, count);
    return out;
}

std::vector<float> train(int n_threads, double &first, double &last)
{
    vlorp_err err{};
    std::vector<float> weight(n * m);
    const std::vector<float> teacher = normals("teacher", 0, n * m);

    vlorp_optimizer_config config = vlorp_optimizer_config_default();
    config.max_tokens = batch;
    config.exec.for_each = for_each;
    config.exec.ctx = &n_threads;
    config.exec.n_threads = n_threads;
    vlorp_optimizer *raw = nullptr;
    check(vlorp_optimizer_create(&raw, &config, &err), err);
    const Optimizer optimizer(raw);

    vlorp_matrix matrix = vlorp_matrix_default();
    matrix.name = "student.weight";
    matrix.n = n;
    matrix.m = m;
    matrix.weight = weight.data();
    matrix.projection.budget = 16;
    int id = -1;
    check(vlorp_optimizer_add_matrix(raw, &matrix, &id, &err), err);
    check(vlorp_optimizer_commit(raw, &err), err);

    for (int step = 0; step < steps; step++) {
        const std::vector<float> x = normals("x", static_cast<uint64_t>(step), batch * m);
        std::vector<float> dy(batch * n);
        double loss = 0;
        for (int t = 0; t < batch; t++) {
            for (int i = 0; i < n; i++) {
                float error = 0;
                for (int j = 0; j < m; j++) {
                    error += (weight[i * m + j] - teacher[i * m + j]) * x[t * m + j];
                }
                dy[t * n + i] = error;
                loss += 0.5 * error * error / batch;
            }
        }
        first = step == 0 ? loss : first;
        last = loss;
        check(vlorp_optimizer_accumulate_factors(raw, id, dy.data(), 0, x.data(), 0, batch, &err), err);
        vlorp_step args{};
        args.lr = 0.1 * (1 - static_cast<double>(step) / steps);
        args.grad_scale = 1.0 / batch;
        check(vlorp_optimizer_step(raw, &args, nullptr, &err), err);
    }
    return weight;
}

} // namespace

int main()
{
    try {
        double first = 0, last = 0;
        const bool same = train(1, first, last) == train(4, first, last);
        std::printf("loss %.3f -> %.3f; one thread and four: %s\n", first, last, same ? "the same bits" : "different");
        return same && last < 0.3 * first ? 0 : 1;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "threads: %s\n", error.what());
        return 1;
    }
}
