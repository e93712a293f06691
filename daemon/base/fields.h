#pragma once

// Values to bytes and back, each by its name, so that two versions of a program can read one another: who reads passes
// over what it does not know, and leaves as it is what is not there. One list of fields serves both ways:
//
//     template <typename A> void fields(A& a, Thing& v) { a("name", v.name, "size", v.size); }
//
// A field is its name and its value, each behind its length. A number takes eight bytes, a bool counts as one; a text is
// its bytes; a list is its items, each behind its length, or, of numbers, one number after another; a struct is its
// fields. Pure. A reader of false bytes turns bad and yields what it had.

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tcpd {

template <typename T>
concept Plain = std::is_arithmetic_v<T> || std::is_enum_v<T>;

class FieldWriter {
public:
    void operator()() const {}
    template <typename T, typename... Rest>
    void operator()(std::string_view name, const T& value, Rest&&... rest) {
        bytes_ += static_cast<char>(name.size());
        bytes_ += name;
        behind_length(value);
        (*this)(std::forward<Rest>(rest)...);
    }
    const std::string& bytes() const { return bytes_; }

private:
    template <typename T>
    void behind_length(const T& value) {
        const size_t at = bytes_.size();
        bytes_.append(sizeof(uint32_t), '\0');
        put(value);
        const auto length = static_cast<uint32_t>(bytes_.size() - at - sizeof(uint32_t));
        std::memcpy(bytes_.data() + at, &length, sizeof length);
    }
    template <Plain T>
    void put(T value) {
        const auto number = static_cast<uint64_t>(value);  // a signed one with its sign
        bytes_.append(reinterpret_cast<const char*>(&number), sizeof number);
    }
    void put(const std::string& text) { bytes_ += text; }
    template <typename T>
    void put_items(const T& list) {
        for (const auto& item : list) {
            if constexpr (Plain<std::decay_t<decltype(item)>>)
                put(item);
            else
                behind_length(item);
        }
    }
    template <typename T>
    void put(const std::vector<T>& list) {
        put_items(list);
    }
    void put(const std::vector<bool>& list) {
        for (const bool item : list) put(item);
    }
    template <typename T, size_t Size>
    void put(const std::array<T, Size>& list) {
        put_items(list);
    }
    template <typename T>
    requires requires(T& value, FieldWriter& writer) { fields(writer, value); }
    void put(const T& value) { fields(*this, const_cast<T&>(value)); }

    std::string bytes_;
};

class FieldReader {
public:
    explicit FieldReader(std::string_view bytes) : bytes_(bytes), rest_(bytes) {}
    void operator()() const {}
    template <typename T, typename... Rest>
    void operator()(std::string_view name, T& value, Rest&&... rest) {
        std::string_view found;
        if (find(name, found)) get(found, value);
        (*this)(std::forward<Rest>(rest)...);
    }
    bool is_good() const { return good_; }

private:
    // Fields are usually read in the order in which they were written.
    bool find(std::string_view name, std::string_view& value) {
        if (find_in(rest_, name, value)) return true;
        std::string_view all = bytes_;
        if (!find_in(all, name, value)) return false;
        rest_ = all;
        return true;
    }
    // Leaves in `bytes` what comes behind the one that was found.
    bool find_in(std::string_view& bytes, std::string_view name, std::string_view& value) {
        std::string_view left = bytes;
        while (!left.empty() && good_) {
            const auto length = static_cast<uint8_t>(left.front());
            left.remove_prefix(1);
            const std::string_view found = take(left, length);
            value = take_behind_length(left);
            if (!good_ || found != name) continue;
            bytes = left;
            return true;
        }
        return false;
    }
    std::string_view take(std::string_view& from, size_t length) {
        if (length > from.size()) good_ = false;
        if (!good_) return {};
        const std::string_view taken = from.substr(0, length);
        from.remove_prefix(length);
        return taken;
    }
    std::string_view take_behind_length(std::string_view& from) {
        uint32_t length = 0;
        const std::string_view taken = take(from, sizeof length);
        if (taken.size() == sizeof length) std::memcpy(&length, taken.data(), sizeof length);
        return take(from, length);
    }
    template <Plain T>
    void get(std::string_view bytes, T& value) {
        uint64_t number = 0;
        if (bytes.size() != sizeof number) {
            good_ = false;
            return;
        }
        std::memcpy(&number, bytes.data(), sizeof number);
        value = static_cast<T>(number);
    }
    static void get(std::string_view bytes, std::string& text) { text = bytes; }
    template <typename T>
    T next_item(std::string_view& bytes) {
        T item{};
        if constexpr (Plain<T>)
            get(take(bytes, sizeof(uint64_t)), item);
        else
            get(take_behind_length(bytes), item);
        return item;
    }
    template <typename T>
    void get(std::string_view bytes, std::vector<T>& list) {
        list.clear();
        while (!bytes.empty() && good_) list.push_back(next_item<T>(bytes));
    }
    // Values that this program does not know are left out.
    template <typename T, size_t Size>
    void get(std::string_view bytes, std::array<T, Size>& list) {
        for (size_t i = 0; i < Size && !bytes.empty() && good_; ++i) list[i] = next_item<T>(bytes);
    }
    template <typename T>
    requires requires(T& value, FieldReader& reader) { fields(reader, value); }
    void get(std::string_view bytes, T& value) {
        FieldReader inner(bytes);
        fields(inner, value);
        if (!inner.is_good()) good_ = false;
    }

    std::string_view bytes_, rest_;
    bool good_ = true;
};

}  // namespace tcpd
