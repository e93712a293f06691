// Stands in for libFuzzer: calls the target with every seed in a folder, then with mutations of them for some
// seconds; the random numbers are the same each time. With clang the target is linked without this file:
//     clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address -I. tests/fuzz/framing.cc
//     worker/protocol/framing.cc
//     ./a.out tests/fuzz/seeds/framing

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Input = std::vector<uint8_t>;
constexpr std::chrono::seconds kTime{5};
constexpr size_t kMaxBytes = 4096;

std::vector<Input> read_seeds(const char* folder) {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    std::vector<Input> seeds;
    for (const auto& path : paths) {
        std::ifstream file(path, std::ios::binary);
        seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    return seeds;
}

class Mutator {
public:
    explicit Mutator(const std::vector<Input>& seeds) : seeds_(seeds) {}

    Input next() {
        Input input = seeds_[below(seeds_.size())];
        if (below(4) == 0) append(input, seeds_[below(seeds_.size())]);
        for (size_t left = 1 + below(4); left > 0; --left) change(input);
        return input;
    }

private:
    size_t below(size_t end) { return end == 0 ? 0 : random_() % end; }
    static void append(Input& input, const Input& other) {
        input.insert(input.end(), other.begin() + std::min<ptrdiff_t>(2, std::ssize(other)), other.end());
        input.resize(std::min(input.size(), kMaxBytes));
    }
    void change(Input& input) {
        const auto at = static_cast<ptrdiff_t>(below(input.size()));
        switch (below(4)) {
            case 0: input.insert(input.begin() + at, static_cast<uint8_t>(random_())); break;
            case 1:
                if (!input.empty()) input.erase(input.begin() + at);
                break;
            case 2:
                if (!input.empty()) input[static_cast<size_t>(at)] ^= static_cast<uint8_t>(1u << below(8));
                break;
            default:
                if (!input.empty()) input[static_cast<size_t>(at)] = kEdges[below(std::size(kEdges))];
        }
    }

    static constexpr uint8_t kEdges[] = {0, 1, 0x7e, 0x7f, 0x80, 0xff, '\r', '\n'};
    const std::vector<Input>& seeds_;
    std::mt19937_64 random_{1};
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return fprintf(stderr, "usage: %s FOLDER-OF-SEEDS\n", argv[0]), 64;
    const std::vector<Input> seeds = read_seeds(argv[1]);
    if (seeds.empty()) return fprintf(stderr, "%s: no seeds in %s\n", argv[0], argv[1]), 1;
    for (const Input& seed : seeds) LLVMFuzzerTestOneInput(seed.data(), seed.size());
    Mutator mutator(seeds);
    uint64_t runs = 0;
    for (const auto end = std::chrono::steady_clock::now() + kTime; std::chrono::steady_clock::now() < end;
         ++runs) {
        const Input input = mutator.next();
        LLVMFuzzerTestOneInput(input.data(), input.size());
    }
    printf("%zu seeds, %lu mutations of them\n", seeds.size(), runs);
    return 0;
}
