/* Why a plain file and not a ring or a database: its pages belong to the kernel, so what a process
 * stored before SIGKILL is there for whoever maps the file next, at no cost per job.  It need not
 * survive a power cut: then the records in Redis decide. */
#include "common/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/small_file.h"

enum { PAGE_BYTES = 4096 };

static const char slots_magic[8] = "BLSLOTS";

struct queue_entry {
    uint32_t len; /* of key, without the NUL */
    char key[SLOTS_QUEUE_KEY_BYTES];
};

struct slots {
    int fd;
    struct slots_header *header;
    struct queue_entry *queues;
    char *blocks; /* of `first_block` */
    int first_block, block_count;
    char *map, *map_blocks; /* map_blocks NULL = one mapping holds all */
    size_t map_bytes, map_blocks_bytes;
};

_Static_assert(sizeof(struct slot) == 256, "a slot is 256 bytes");
_Static_assert(sizeof(struct runner_page) == PAGE_BYTES, "a runner's page is one page");
_Static_assert(sizeof(struct queue_entry) == 512, "a queue's entry is 512 bytes");

#define ROUND_UP(n)  (((n) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES)
#define HEADER_BYTES ROUND_UP(sizeof(struct slots_header))
#define TABLE_BYTES  ROUND_UP(sizeof(struct queue_entry) * SLOTS_MAX_QUEUES)
#define FRONT_BYTES  (HEADER_BYTES + TABLE_BYTES)
#define BLOCK_BYTES                                                                                \
    (sizeof(struct runner_page) + ROUND_UP(sizeof(struct slot) * (size_t)SLOTS_PER_RUNNER))

static size_t whole_bytes(uint32_t runner_max)
{
    return FRONT_BYTES + BLOCK_BYTES * runner_max;
}

const char *slot_state_name(enum slot_state s)
{
    switch (s) {
    case SLOT_FREE:
        return "free";
    case SLOT_QUEUED:
        return "queued";
    case SLOT_BEGUN:
        return "begun";
    case SLOT_RETURNED:
        return "returned";
    case SLOT_REVOKED:
        return "revoked";
    }
    return "?";
}

/* Maps `bytes` from `offset`.  NULL with err set. */
static char *map_part(int fd, size_t offset, size_t bytes, int prot, struct err *err)
{
    void *p = mmap(NULL, bytes, prot, MAP_SHARED, fd, (off_t)offset);
    if (p == MAP_FAILED) {
        err_errno(err, ERR_SYSTEM, "cannot map the slot page");
        return NULL;
    }
    return p;
}

static struct slots *slots_new(int fd, char *map, size_t map_bytes)
{
    struct slots *s = xcalloc(1, sizeof *s);
    s->fd = fd;
    s->map = map;
    s->map_bytes = map_bytes;
    s->header = (struct slots_header *)(void *)map;
    s->queues = (struct queue_entry *)(void *)(map + HEADER_BYTES);
    s->blocks = map + FRONT_BYTES;
    s->block_count = (int)s->header->runner_max;
    return s;
}

void slots_free(struct slots *s)
{
    if (s == NULL)
        return;
    munmap(s->map, s->map_bytes);
    if (s->map_blocks != NULL)
        munmap(s->map_blocks, s->map_blocks_bytes);
    if (s->fd != -1)
        close(s->fd);
    free(s);
}

static int open_new(const char *path, struct err *err)
{
    int fd = path == NULL ? memfd_create("bucketline-slots", MFD_CLOEXEC | MFD_ALLOW_SEALING)
                          : open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        return err_errno(err, ERR_SYSTEM, "cannot create %s", path != NULL ? path : "a memfd");
    return fd;
}

static void close_new(int fd, const char *path)
{
    close(fd);
    if (path != NULL)
        unlink(path);
}

int slots_create(const char *path, const struct incarnation *inc, int runner_max,
                 const char *const *queue_keys, int queue_count, struct slots **ret,
                 struct err *err)
{
    if (runner_max < 1 || runner_max > SLOTS_MAX_RUNNERS)
        return err_set(err, ERR_RANGE, "%d runners; 1 to %d can be", runner_max, SLOTS_MAX_RUNNERS);
    int fd = open_new(path, err);
    if (fd < 0)
        return fd;
    size_t bytes = whole_bytes((uint32_t)runner_max);
    errno = posix_fallocate(fd, 0, (off_t)bytes);
    if (errno != 0) {
        err_errno(err, ERR_SYSTEM, "cannot allocate %zu bytes for %s", bytes,
                  path != NULL ? path : "the slot page");
        close_new(fd, path);
        return -ERR_SYSTEM;
    }
    if (path == NULL) /* a runner that shrank it would end the worker by SIGBUS */
        (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL); /* best effort */
    char *map = map_part(fd, 0, bytes, PROT_READ | PROT_WRITE, err);
    if (map == NULL) {
        close_new(fd, path);
        return -ERR_SYSTEM;
    }
    struct slots_header *h = (struct slots_header *)(void *)map;
    h->version = SLOTS_VERSION;
    h->runner_max = (uint32_t)runner_max;
    h->worker_pid = getpid();
    memcpy(h->incarnation, inc->hex, sizeof inc->hex);
    boot_id_read(h->boot_id, sizeof h->boot_id);
    struct slots *s = slots_new(fd, map, bytes);
    for (int i = 0; i < runner_max; i++)
        atomic_store(&slots_runner_page(s, i)->current_slot, -1);
    for (int i = 0; i < queue_count; i++) {
        if (slots_add_queue(s, queue_keys[i]) < 0) {
            slots_free(s);
            if (path != NULL)
                unlink(path);
            return err_set(err, ERR_TOO_BIG, "queue key %d of %d is too long, or too many", i + 1,
                           queue_count);
        }
    }
    /* Last: a file without it is one whose making was cut short, and holds nothing. */
    atomic_thread_fence(memory_order_release);
    memcpy(h->magic, slots_magic, sizeof slots_magic);
    *ret = s;
    return 0;
}

/* Is the front of the file one of ours, and as long as it says? */
static int check_front(int fd, const char *what, uint32_t *ret_runner_max, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) == -1)
        return err_errno(err, ERR_SYSTEM, "cannot stat %s", what);
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)FRONT_BYTES)
        return err_set(err, ERR_PROTOCOL, "%s is no journal: %lld bytes", what,
                       (long long)st.st_size);
    struct slots_header *h = xmalloc(sizeof *h);
    ssize_t n = pread(fd, h, sizeof *h, 0);
    int rc = 0;
    if (n != (ssize_t)sizeof *h)
        rc = err_errno(err, ERR_SYSTEM, "cannot read %s", what);
    else if (memcmp(h->magic, slots_magic, sizeof slots_magic) != 0)
        rc = err_set(err, ERR_PROTOCOL, "%s is no journal", what);
    else if (h->version != SLOTS_VERSION)
        rc = err_set(err, ERR_PROTOCOL, "%s is a journal of version %u, this program knows %d",
                     what, (unsigned)h->version, SLOTS_VERSION);
    else if (h->runner_max < 1 || h->runner_max > SLOTS_MAX_RUNNERS ||
             st.st_size != (off_t)whole_bytes(h->runner_max))
        rc = err_set(err, ERR_PROTOCOL, "%s is a journal of %u runners in %lld bytes", what,
                     (unsigned)h->runner_max, (long long)st.st_size);
    else if (h->queue_count > SLOTS_MAX_QUEUES || h->incarnation[INCARNATION_BYTES] != '\0')
        rc = err_set(err, ERR_PROTOCOL, "%s is a damaged journal", what);
    else
        *ret_runner_max = h->runner_max;
    free(h);
    return rc;
}

int slots_open(const char *path, struct slots **ret, struct err *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd == -1)
        return err_errno(err, ERR_SYSTEM, "cannot open %s", path);
    uint32_t runner_max = 0;
    int rc = check_front(fd, path, &runner_max, err);
    char *map = NULL;
    if (rc == 0) {
        map = map_part(fd, 0, whole_bytes(runner_max), PROT_READ | PROT_WRITE, err);
        rc = map == NULL ? -ERR_SYSTEM : 0;
    }
    if (rc < 0) {
        close(fd);
        return rc;
    }
    *ret = slots_new(fd, map, whole_bytes(runner_max));
    return 0;
}

int slots_attach(int fd, int runner, struct slots **ret, struct err *err)
{
    uint32_t runner_max = 0;
    int rc = check_front(fd, "the slot page", &runner_max, err);
    if (rc < 0)
        return rc;
    if (runner < -1 || runner >= (int)runner_max)
        return err_set(err, ERR_RANGE, "runner %d of %u", runner, (unsigned)runner_max);
    size_t bytes = runner == -1 ? whole_bytes(runner_max) : FRONT_BYTES;
    char *map = map_part(fd, 0, bytes, PROT_READ, err);
    if (map == NULL)
        return -ERR_SYSTEM;
    char *block = NULL;
    if (runner >= 0) {
        block = map_part(fd, FRONT_BYTES + BLOCK_BYTES * (size_t)runner, BLOCK_BYTES,
                         PROT_READ | PROT_WRITE, err);
        if (block == NULL) {
            munmap(map, bytes);
            return -ERR_SYSTEM;
        }
    }
    close(fd);
    struct slots *s = slots_new(-1, map, bytes);
    if (block != NULL) {
        s->blocks = s->map_blocks = block;
        s->map_blocks_bytes = BLOCK_BYTES;
        s->first_block = runner;
        s->block_count = 1;
    }
    *ret = s;
    return 0;
}

int slots_fd(const struct slots *s)
{
    return s->fd;
}

struct slots_header *slots_header(struct slots *s)
{
    return s->header;
}

const char *slots_queue_key(const struct slots *s, uint32_t index)
{
    if (index >= s->header->queue_count || index >= SLOTS_MAX_QUEUES)
        return NULL;
    const struct queue_entry *q = &s->queues[index];
    if (q->len >= SLOTS_QUEUE_KEY_BYTES || q->key[q->len] != '\0')
        return NULL;
    return q->key;
}

int slots_add_queue(struct slots *s, const char *key)
{
    size_t len = strlen(key);
    if (len >= SLOTS_QUEUE_KEY_BYTES)
        return -ERR_TOO_BIG;
    uint32_t count = s->header->queue_count;
    for (uint32_t i = 0; i < count; i++)
        if (s->queues[i].len == len && memcmp(s->queues[i].key, key, len) == 0)
            return (int)i;
    if (count >= SLOTS_MAX_QUEUES)
        return -ERR_TOO_BIG;
    memcpy(s->queues[count].key, key, len + 1);
    s->queues[count].len = (uint32_t)len;
    atomic_thread_fence(memory_order_release); /* killed in between: the entry is not there yet */
    s->header->queue_count = count + 1;
    return (int)count;
}

static char *block_at(struct slots *s, int runner)
{
    if (runner < s->first_block || runner >= s->first_block + s->block_count)
        BUG("no block of runner %d here", runner);
    return s->blocks + BLOCK_BYTES * (size_t)(runner - s->first_block);
}

struct runner_page *slots_runner_page(struct slots *s, int runner)
{
    return (struct runner_page *)(void *)block_at(s, runner);
}

struct slot *slots_get(struct slots *s, int runner, int slot)
{
    if (slot < 0 || slot >= SLOTS_PER_RUNNER)
        BUG("slot %d", slot);
    char *first = block_at(s, runner) + sizeof(struct runner_page);
    return (struct slot *)(void *)first + slot;
}

static uint64_t make_word(uint64_t seq, enum slot_state state)
{
    return seq << 8 | (uint64_t)state;
}

static bool exchange(struct slot *s, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(&s->word, &from, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

bool slot_queue(struct slot *s, uint64_t seq, uint32_t queue)
{
    uint64_t was = atomic_load_explicit(&s->word, memory_order_acquire);
    s->delay_ms = -1;
    __atomic_store_n(&s->begun_us, 0, __ATOMIC_RELAXED);
    s->returned_us = 0;
    s->queue = queue;
    s->outcome = OUTCOME_NONE;
    s->has_out = 0;
    s->message_len = 0;
    s->exit_code = -1;
    s->signal = 0;
    s->max_rss_bytes = s->cpu_ms = -1;
    s->oom = 0;
    atomic_store_explicit(&s->word, make_word(seq, SLOT_QUEUED), memory_order_release);
    return slot_word_state(was) == SLOT_FREE;
}

bool slot_begin(struct slot *s, uint64_t seq, int64_t now_mono_us)
{
    uint64_t queued = make_word(seq, SLOT_QUEUED);
    if (atomic_load_explicit(&s->word, memory_order_acquire) != queued)
        return false;
    /* Should the exchange fail, this stays behind in a slot that is no longer ours; nobody reads it
     * before the next slot_begin() writes it again. */
    __atomic_store_n(&s->begun_us, now_mono_us, __ATOMIC_RELAXED);
    return exchange(s, queued, make_word(seq, SLOT_BEGUN));
}

void slot_return(struct slot *s, uint64_t seq, enum outcome o, int64_t delay_ms,
                 int64_t now_mono_us)
{
    s->outcome = (uint8_t)o;
    s->delay_ms = delay_ms;
    s->returned_us = now_mono_us;
    if (!exchange(s, make_word(seq, SLOT_BEGUN), make_word(seq, SLOT_RETURNED)))
        BUG("the slot of a running job was overwritten");
}

bool slot_revoke(struct slot *s, uint64_t seq)
{
    return exchange(s, make_word(seq, SLOT_QUEUED), make_word(seq, SLOT_REVOKED));
}

void slot_free(struct slot *s)
{
    atomic_store_explicit(&s->word, make_word(0, SLOT_FREE), memory_order_release);
}

/* Where to cut so that no UTF-8 sequence is split: at most `max` bytes. */
static size_t cut_at_character(struct span text, size_t max)
{
    if (text.len <= max)
        return text.len;
    size_t n = max;
    while (n > 0 && max - n < 4 && ((unsigned char)text.ptr[n] & 0xc0) == 0x80)
        n--;
    return n > 0 && max - n < 4 ? n : max;
}

void slot_set_message(struct slot *s, struct span message)
{
    size_t len = cut_at_character(message, SLOT_MESSAGE_BYTES);
    if (len > 0)
        memcpy(s->message, message.ptr, len);
    s->message_len = (uint16_t)len;
}

bool slot_plausible(const struct slot *s, uint64_t seq)
{
    uint64_t word = atomic_load_explicit(&s->word, memory_order_acquire);
    if (slot_word_seq(word) != seq)
        return false;
    switch (slot_word_state(word)) {
    case SLOT_QUEUED:
    case SLOT_BEGUN:
    case SLOT_REVOKED:
        return true;
    case SLOT_RETURNED:
        return s->outcome > OUTCOME_NONE && s->outcome < OUTCOME_COUNT &&
               s->message_len <= SLOT_MESSAGE_BYTES && s->has_out <= 1 && s->delay_ms >= -1;
    case SLOT_FREE:
        break;
    }
    return false;
}

void slots_path(char *out, size_t size, const char *dir, const struct incarnation *inc,
                const char *suffix)
{
    snprintf(out, size, "%s/%s%s", dir, inc->hex, suffix);
}
