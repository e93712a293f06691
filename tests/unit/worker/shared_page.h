#pragma once

// A T that a test and its forked children share; zeroes at first.

#include <sys/mman.h>

#include <new>

namespace tcpd::test {

template <typename T>
class SharedPage {
public:
    SharedPage()
        : value_(new (::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
                     T()) {}
    SharedPage(const SharedPage&) = delete;
    ~SharedPage() { ::munmap(value_, sizeof(T)); }
    T& operator*() const { return *value_; }
    T* operator->() const { return value_; }

private:
    T* value_;
};

}  // namespace tcpd::test
