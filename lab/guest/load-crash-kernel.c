/*
 * Loads the kernel that is booted by a panic: load-crash-kernel IMAGE INITRAMFS "ARGUMENTS"
 *
 * kexec_file_load(2) does all of it; kexec-tools would bring a dozen libraries into the guest.
 */
#include <err.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEXEC_FILE_ON_CRASH 2UL

int main(int count, char **words)
{
	int image, initramfs;

	if (count != 4)
		errx(2, "load-crash-kernel IMAGE INITRAMFS ARGUMENTS");
	image = open(words[1], O_RDONLY);
	if (image < 0)
		err(1, "%s", words[1]);
	initramfs = open(words[2], O_RDONLY);
	if (initramfs < 0)
		err(1, "%s", words[2]);
	if (syscall(SYS_kexec_file_load, image, initramfs, strlen(words[3]) + 1, words[3], KEXEC_FILE_ON_CRASH))
		err(1, "kexec_file_load");
	return 0;
}
