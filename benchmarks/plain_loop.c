/* candump -L text to columns of doubles: what a C programmer writes first.
 *
 * One thread, one byte at a time, a table of the PGNs; J1939 messages of at most eight bytes with unsigned
 * Intel signals. Columns of 65,536 rows a message are filled and then reused, as a consumer would take them.
 *
 * usage: plain_loop TABLE LOG
 * TABLE: "pgn n_signals" a message, followed by "start length has_codes scale offset" a signal.
 * Prints one line of JSON: seconds from opening the log to its end, frames, values that are no null, peak memory.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCK_BYTES = 1 << 20, ROWS = 65536, PGNS = 1 << 18, MESSAGES = 1024, CHANNELS = 16, NAME_BYTES = 16 };

struct signal {
    int start, needed_bytes;
    uint64_t ones, first_code; /* raw numbers from first_code on are no values */
    double scale, offset, *values;
};

struct message {
    int n_signals, rows;
    struct signal *signals;
    int64_t *time_us;
    uint8_t *channel, *source, *destination;
};

static struct message messages[MESSAGES];
static int16_t message_of_pgn[PGNS];
static char channel_names[CHANNELS][NAME_BYTES];
static int n_channels;
static int64_t n_frames, n_values, n_malformed;

static void *rows_of(size_t size)
{
    void *memory = malloc(ROWS * size);
    if (memory == NULL) {
        fprintf(stderr, "expected memory for a column, but got none\n");
        exit(1);
    }
    return memset(memory, 0xFF, ROWS * size); /* touched here, so that the measured loop meets no page fault */
}

/* SAE J1939-71: ranges of the codes that say reserved, error or not available, by width. */
static uint64_t first_code(int length, int has_codes)
{
    if (!has_codes || length == 1)
        return UINT64_MAX;
    if (length == 2)
        return 2;
    if (length % 8 == 0)
        return (uint64_t)0xFB << (length - 8);
    return ((uint64_t)1 << length) - 1;
}

static void read_table(const char *path)
{
    FILE *file = fopen(path, "r");
    int pgn, n_signals, length, has_codes, n = 0;
    if (file == NULL) {
        fprintf(stderr, "expected a readable table, but got none\n");
        exit(1);
    }
    memset(message_of_pgn, -1, sizeof message_of_pgn);
    while (n < MESSAGES && fscanf(file, "%d %d", &pgn, &n_signals) == 2 && pgn >= 0 && pgn < PGNS) {
        struct message *message = &messages[n];
        message->n_signals = n_signals;
        message->signals = calloc((size_t)n_signals + 1, sizeof *message->signals);
        message->time_us = rows_of(sizeof *message->time_us);
        message->channel = rows_of(1);
        message->source = rows_of(1);
        message->destination = rows_of(1);
        for (int i = 0; i < n_signals; i++) {
            struct signal *signal = &message->signals[i];
            if (fscanf(file, "%d %d %d %lf %lf", &signal->start, &length, &has_codes, &signal->scale,
                       &signal->offset) != 5) {
                fprintf(stderr, "expected five numbers a signal, but got fewer\n");
                exit(1);
            }
            signal->ones = length == 64 ? UINT64_MAX : ((uint64_t)1 << length) - 1;
            signal->needed_bytes = (signal->start + length + 7) / 8;
            signal->first_code = first_code(length, has_codes);
            signal->values = rows_of(sizeof *signal->values);
        }
        message_of_pgn[pgn] = (int16_t)n++;
    }
    fclose(file);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static int channel_index(const char *name, size_t length)
{
    for (int i = 0; i < n_channels; i++)
        if (strncmp(channel_names[i], name, length) == 0 && channel_names[i][length] == 0)
            return i;
    if (n_channels == CHANNELS || length >= NAME_BYTES)
        return -1;
    memcpy(channel_names[n_channels], name, length);
    return n_channels++;
}

static void decode(int64_t time_us, int channel, uint32_t id, const uint8_t *data, int n_bytes)
{
    uint32_t pgn = id >> 8 & 0x3FFFF;
    int destination = 255;
    if ((pgn >> 8 & 0xFF) < 240) {
        destination = pgn & 0xFF;
        pgn &= 0x3FF00;
    }
    if (message_of_pgn[pgn] < 0)
        return;
    struct message *message = &messages[message_of_pgn[pgn]];
    uint64_t word = 0;
    for (int i = 0; i < n_bytes; i++)
        word |= (uint64_t)data[i] << 8 * i;
    int row = message->rows;
    message->time_us[row] = time_us;
    message->channel[row] = (uint8_t)channel;
    message->source[row] = (uint8_t)id;
    message->destination[row] = (uint8_t)destination;
    for (int i = 0; i < message->n_signals; i++) {
        struct signal *signal = &message->signals[i];
        uint64_t raw = word >> signal->start & signal->ones;
        if (raw >= signal->first_code || n_bytes < signal->needed_bytes) {
            signal->values[row] = NAN;
        } else {
            signal->values[row] = (double)raw * signal->scale + signal->offset;
            n_values++;
        }
    }
    message->rows = row + 1 == ROWS ? 0 : row + 1;
}

/* (seconds.microseconds) channel ID#DATA; 0 when the line is something else */
static int take_line(const char *at, const char *end)
{
    int64_t seconds = 0, fraction = 0;
    int n_digits = 0, n_bytes = 0, digit, low;
    uint32_t id = 0;
    uint8_t data[8];
    if (at == end || *at++ != '(')
        return 0;
    while (at < end && *at >= '0' && *at <= '9')
        seconds = seconds * 10 + (*at++ - '0');
    if (at == end || *at++ != '.')
        return 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++, n_digits++)
        fraction = fraction * 10 + (*at - '0');
    if (n_digits != 6 || end - at < 2 || *at++ != ')' || *at++ != ' ')
        return 0;
    const char *name = at;
    while (at < end && *at != ' ')
        at++;
    int channel = channel_index(name, (size_t)(at - name));
    if (at == end || channel < 0)
        return 0;
    for (at++, n_digits = 0; at < end && (digit = hex_digit(*at)) >= 0; at++, n_digits++)
        id = id << 4 | (uint32_t)digit;
    if (at == end || *at++ != '#' || (n_digits != 3 && n_digits != 8))
        return 0;
    while (end - at >= 2 && (digit = hex_digit(at[0])) >= 0 && (low = hex_digit(at[1])) >= 0) {
        if (n_bytes == 8)
            return 0;
        data[n_bytes++] = (uint8_t)(digit << 4 | low);
        at += 2;
    }
    if (at != end && *at != '\r')
        return 0;
    n_frames++;
    if (n_digits == 8)
        decode(seconds * 1000000 + fraction, channel, id, data, n_bytes);
    return 1;
}

static void read_log(const char *path)
{
    static char block[BLOCK_BYTES];
    size_t kept = 0, got;
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "expected a readable log, but got none\n");
        exit(1);
    }
    while ((got = fread(block + kept, 1, BLOCK_BYTES - kept, file)) > 0) {
        const char *line = block, *end = block + kept + got;
        for (const char *at = block + kept; at < end; at++)
            if (*at == '\n') {
                n_malformed += !take_line(line, at);
                line = at + 1;
            }
        kept = (size_t)(end - line);
        memmove(block, line, kept);
    }
    if (kept > 0)
        n_malformed += !take_line(block, block + kept);
    fclose(file);
}

/* Highest resident memory in kilobytes; 0 where the system does not say. getrusage would say the parent's. */
static long peak_kilobytes(void)
{
    char line[256];
    long found = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %ld", &found) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return found;
}

int main(int n_arguments, char **arguments)
{
    struct timespec began, ended;
    double check = 0;
    if (n_arguments != 3) {
        fprintf(stderr, "usage: plain_loop TABLE LOG\n");
        return 2;
    }
    read_table(arguments[1]);
    clock_gettime(CLOCK_MONOTONIC, &began);
    read_log(arguments[2]);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    for (int i = 0; i < MESSAGES; i++) /* the columns are read once, so that no compiler leaves them out */
        for (int k = 0; k < messages[i].n_signals; k++)
            check += isnan(messages[i].signals[k].values[0]) ? 0 : messages[i].signals[k].values[0];
    printf("{\"seconds\": %.6f, \"frames\": %lld, \"values\": %lld, \"malformed\": %lld, \"peak_kilobytes\": %ld, "
           "\"check\": %.3f}\n",
           (double)(ended.tv_sec - began.tv_sec) + 1e-9 * (double)(ended.tv_nsec - began.tv_nsec), (long long)n_frames,
           (long long)n_values, (long long)n_malformed, peak_kilobytes(), check);
    return 0;
}
